"""The formats of tables, one file each: `placed_rows(path, columns)` and `column_names(path)`."""
