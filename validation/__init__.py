"""What estimators read where the truth is known: planted policies, players of endgames, made-up runs."""
