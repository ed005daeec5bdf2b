"""What a student need not read: files, downloads, folders, checkpoints, the screen."""
