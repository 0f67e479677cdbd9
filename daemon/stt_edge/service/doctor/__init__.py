"""What ``stt-edge doctor`` looks at; ``checks`` has the list, every other module a few of them."""
