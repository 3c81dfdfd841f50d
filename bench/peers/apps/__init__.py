"""One module a system: its tasks, and a `Producer`. Each runs in its own environment, with nothing
of ours but `bench.peers.kit`, so these modules are never imported by the run itself."""
