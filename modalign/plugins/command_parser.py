"""How a command reads its own options: for the built-in commands and for those that plugins register."""

import argparse
from typing import NoReturn

from modalign.core.errors import UserError


class CommandParser(argparse.ArgumentParser):
    """An argument parser whose errors are `UserError`s, and which takes no abbreviations."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(prog=f"modalign {command}", description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UserError(message, f"Run `{self.prog} --help`.")
