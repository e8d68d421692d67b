from pathlib import Path


def sb3_network(file: Path) -> Path:
    raise NotImplementedError
