"""A link so slow that a reply takes longer than any reply may be waited for."""

from __future__ import annotations

from tests.chaos.stage import Stage, now


def test_big_payloads_over_a_slow_link_keep_their_leases(stage: Stage) -> None:
    """Fault: a link of 64 kbit/s (8 KB a second), and jobs of 8 KB. Heartbeats have a connection
    of their own and come through: nothing is reaped, all jobs run once, by this one worker.
    """
    net, server = stage.served_network()
    bed = stage.bed(
        server, heartbeat=1.0, heartbeat_ttl=10.0, grace=3.0, socket_timeout=1.5, concurrency=10
    )
    place = net.join()
    bed.worker(netns=place.name, url=server.tcp_url)
    place.slow(64)

    began = now()
    with bed.fault("slow link"):
        bed.produce("weigh", "x" * 8_000, count=4)
        bed.settle(40)
    took = now() - began

    verdict = bed.verdict()
    assert verdict.duplicates == 0, verdict.summary()
    assert sum(record.crashes for record in bed.records().values()) == 0
    bed.record(
        fault="a link of 64 kbit/s and payloads of 8 KB",
        injected="4 jobs: 32 KB, 4 s of that link, replies are waited for 1.5 s",
        invariant="H4",
        observed=f"all ran once, in {took:.1f} s",
        duplicates=0,
    )
