// The collections of the caller, shared by the views: which there are decides what can be asked.
import { get } from "./http.js";
import { changes } from "./keys.js";
import { store } from "./store.js";

/** `{ items }` once they are known, `{ error }` if they can't be read. */
export const collections = store({});

export async function refreshCollections() {
  try {
    collections.set({ items: (await get("/collections")).items });
  } catch (error) {
    collections.set({ items: collections.get().items, error });
  }
}

changes.watch(refreshCollections);
