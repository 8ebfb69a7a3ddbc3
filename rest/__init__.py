"""OpenAI's HTTP API over the services: speech, transcriptions, chat, models."""
