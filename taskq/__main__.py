"""`python -m taskq`: the command line."""

from taskq.cli.main import main

# The processes of a worker import this module again; only the program itself may run it.
if __name__ == "__main__":
    main()
