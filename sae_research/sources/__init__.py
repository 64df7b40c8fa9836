"""Where models, SAEs and data come from: the embedded world, folders, the Hugging Face hub, memory."""
