"""The forms in which checkpoints lie on disk, a file each; `find.py` lists them, `layouts.py` says where."""
