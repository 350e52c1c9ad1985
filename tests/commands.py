"""What tests of commands share."""

from fastgcn_rec.cli import main


def code_of(*arguments):
    """What a command ends with, whether it parses or not."""
    try:
        return main([str(a) for a in arguments])
    except SystemExit as stop:
        return stop.code


def raising(error):
    def action(*arguments, **options):
        raise error

    return action
