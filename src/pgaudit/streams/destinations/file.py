"""Files in a directory: NDJSON, an event in each line, durable when a chunk is done.

A file is named for the first index in it. It is closed by its size or at midnight (UTC), and compressed then if asked.
After a crash the last file may have lines that are sent again: they are cut off first, so each event is there once.
"""
