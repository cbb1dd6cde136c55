"""The steps of the annotate flow: pull answers, choose key frames, queue people, push tasks, resolve the consensus."""
