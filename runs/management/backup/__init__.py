"""Backup and restore of a whole hub in one file (docs/decisions/0010): the rows of all tables in one
form for both databases, the keys, the logs, and the files of steps if they are asked for.

archive   the file: members, sums, bounds, and nothing that a hostile one could do
contents  which tables and files belong to a hub
rows      a row as a line of JSON and back
dump      writes a backup from one consistent look at the database, while everything runs
checks    why a restore is refused
target    the database that a restore builds, all of it or nothing
load      fills it
aftermath what a restored hub must not believe any more
places    puts files in their places, and the old ones aside
"""
