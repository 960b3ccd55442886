"""`python -m cachectl` is `cachectl`."""

from cachectl.main import main

if __name__ == "__main__":
    main()
