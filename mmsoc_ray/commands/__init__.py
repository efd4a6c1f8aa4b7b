"""Subcommands of ``mmsoc``, one module per noun."""
