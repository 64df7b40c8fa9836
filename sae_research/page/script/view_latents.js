// Single latents: when they fire, on what, and what they promote.

const latentsView = {
  id: "latents",
  title: "Latents",
  isAvailable: () => false,

  mount(root) {
    root.replaceChildren(viewHead("Latents", "No latents were recorded for these SAEs."));
  },

  draw() {},
};
