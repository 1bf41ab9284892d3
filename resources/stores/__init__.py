"""What the pipelines remember: the change log, and the state in one SQLAlchemy database."""
