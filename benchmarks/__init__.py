"""The project's benchmarks: one file per question; ``README.md`` says how to run and read them."""
