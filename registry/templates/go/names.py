"""The names that Go templates may call, for the parser; what they do is in `functions`."""

FUNCTIONS = frozenset(
    (
        *("and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "slice", "call"),
        *("print", "printf", "println", "html", "js", "urlquery"),
        *("json", "currentDate", "yesterdayDate", "toTypeScriptType"),
    )
)
