"""A folder of one's own: pictures anywhere in it, tags in a table, JSON or sub-folders."""
