// The latents of an SAE, from the file that `latents.py` packs.

/** The name of an SAE's file without its ending; the builder lists those that there are. */
const latentChunk = (sae) => fleet.latentFiles?.[sae] ?? "";
