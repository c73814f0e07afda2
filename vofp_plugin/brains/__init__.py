"""Training and evaluation loops on SpeechBrain's Brain."""
