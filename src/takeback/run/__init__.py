"""What runs any work: parts, processes, a cluster, files, tables, progress, errors, statistics."""
