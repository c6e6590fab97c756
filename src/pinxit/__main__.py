"""`python -m pinxit`, as torchrun needs it."""

from pinxit.apps.cli.main import main

if __name__ == "__main__":
    main()
