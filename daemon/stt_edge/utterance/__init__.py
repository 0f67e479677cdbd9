"""The utterance log: audio of utterances on disk, appended, followed, recovered and deleted."""
