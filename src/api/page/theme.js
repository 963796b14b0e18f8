// Light or dark: as the system has it, unless chosen here. The choice is kept in the browser.
import { store } from "./store.js";

const SLOT = "ragq.theme";

export const theme = store(localStorage.getItem(SLOT) ?? "system");

function show(name) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
}

export function setTheme(name) {
  localStorage.setItem(SLOT, name);
  show(name);
  theme.set(name);
}

show(theme.get());
