"""What a profile looks like: table, CSV, Markdown and HTML."""
