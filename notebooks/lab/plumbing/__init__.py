"""What a student need not read: files, downloads, folders, feeding, checkpoints."""
