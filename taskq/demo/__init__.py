"""The demo: a census of the standard library, run through the queue and checked without it.

An edge, beside the command line: it uses taskq as a stranger would, and nothing imports it but
`taskq demo` and the examples.
"""
