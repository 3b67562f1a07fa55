"""The csai command. Each command is a file in commands, found by listing the folder."""
