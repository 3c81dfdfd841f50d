from tests.lua.engine import *
def test_a(engine):
    r=engine.enqueue(NewJob("a","t",b"p"), NewJob("b","t",b"p",at="+5000"))
    engine.run(commands.heartbeat(engine.keys,WORKER,ttl_ms=6000))
    c=engine.claim()
    print(c)
    print(engine.dump())
    print(engine.ack(Ack("a",c.jobs[0].token,b"res",1000)))
    print(engine.run(commands.stats(engine.keys)))
    assert 0
