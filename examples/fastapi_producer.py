"""A web service that enqueues in one request and answers from another.

taskq worker fastapi_producer:app
uvicorn fastapi_producer:api

Then, with the id that the first one gives:

curl localhost:8000/texts -H 'content-type: application/json' -d '{"text": "to be or not to be"}'
curl localhost:8000/texts/<id>
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from taskq import TaskQ
from taskq.errors import InvalidName, JobError, JobNotFound, ResultTimeout

app = TaskQ()


@app.task(timeout=10)
async def count_words(text: str) -> dict[str, int]:
    return dict(Counter(text.lower().split()).most_common(10))


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with app:  # connects now, so that a wrong URL shows at start
        yield


api = FastAPI(lifespan=lifespan)


class Text(BaseModel):
    text: str


@api.post("/texts", status_code=202)
async def submit(text: Text) -> dict[str, str]:
    job = await count_words.enqueue(text.text)
    return {"id": job.id}


@api.get("/texts/{job_id}")
async def look(job_id: str) -> dict[str, int]:
    try:
        words: dict[str, int] = await app.job(job_id).result(timeout=2)
    except (JobNotFound, InvalidName) as error:
        raise HTTPException(404, "no such text") from error
    except ResultTimeout as error:
        raise HTTPException(503, "not counted yet", headers={"Retry-After": "1"}) from error
    except JobError as error:
        raise HTTPException(500, str(error)) from error
    return words
