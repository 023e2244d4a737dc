"""``python -m agentsched``: the command line, also where its script is not on the path."""

from agentsched.cli.main import main

if __name__ == "__main__":
    main(prog_name="agentsched")
