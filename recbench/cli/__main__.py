"""`python -m recbench.cli`, the same as `recbench`."""

from recbench.cli import main

if __name__ == "__main__":
    main()
