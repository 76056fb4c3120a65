"""Where a study's files lie: folder, lock, object storage, copies of user code, trust."""
