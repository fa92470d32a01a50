"""Benchmarks: llamactor beside llama-server, on one model file and as many threads, interleaved in one run.

`python -m tests.benchmarks` (or `make bench`) starts both servers, lets them answer the same kind of requests in turn,
so that the machine's noise hits both, prints Markdown tables and ends with the gates: what must hold, and whether it
does. The exit status is 0 when all gates hold, 1 when one does not, 2 when something could not be measured.

Each benchmark is a module with one function `run(arena, effort) -> Section`; `cli` lists them. A figure is the median
over rounds, a ratio the median of the rounds' own ratios. Run nothing else meanwhile: the tables say how much of the
processor others took.
"""
