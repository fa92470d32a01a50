"""The process that converts; run by `registry.workshop.child`."""

import sys

from registry.workshop.bench import Tell, carry_out
from registry.workshop.convert.adapter import convert_adapter
from registry.workshop.convert.folder import Folder
from registry.workshop.convert.model import convert_model
from registry.workshop.convert.order import ConvertOrder


def convert(order: ConvertOrder, tell: Tell) -> None:
    """Carry out one order."""
    with Folder(order.files) as folder:
        if order.base:
            convert_adapter(folder, order, tell)
        else:
            convert_model(folder, order, tell)


if __name__ == "__main__":
    sys.exit(carry_out(ConvertOrder, convert))
