"""Go's text/template: our own lexer, parser, evaluator and value printing, bounded in every direction."""
