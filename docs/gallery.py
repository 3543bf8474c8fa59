"""Pages made from the examples."""


def pages():
    return {"gallery/index.md": "# Gallery\n\nTo be written.\n"}
