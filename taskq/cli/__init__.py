"""The command line: words for people around what the layers below do. Nothing below imports it."""
