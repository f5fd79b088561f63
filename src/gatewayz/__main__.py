"""`python -m gatewayz`: the command line."""

from gatewayz.cli import main

if __name__ == "__main__":
    main()
