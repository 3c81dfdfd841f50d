"""Names that scenarios and broken workers share. Imports nothing: scenarios must stay whole."""

#: `before_start`, `after_ack`, `after_claim`: a worker kills itself there, once a scenario.
POINT = "TASKQ_TEST_CHAOS_POINT"
#: Seconds by which a process's wall clock is wrong.
SKEW = "TASKQ_TEST_CHAOS_SKEW"
#: The app to give a worker that shall be broken.
FAILPOINTS = "tests.chaos.failpoints:app"
