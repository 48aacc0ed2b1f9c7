"""One page that shows what became of a function: built here, opened offline anywhere."""
