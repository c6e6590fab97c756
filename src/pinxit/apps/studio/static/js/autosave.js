/** Work that survives a reload: one blob in the browser's own database. Where there is none, nothing is kept. */

const DATABASE = "pinxit";
const STORE = "work";

/** @returns {Promise<IDBDatabase>} */
function opened() {
  return new Promise((resolve, reject) => {
    const asked = indexedDB.open(DATABASE, 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore(STORE);
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
    asked.onblocked = () => reject(new Error("the browser's database is blocked"));
  });
}

/**
 * @template T
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest<T>} act
 * @returns {Promise<T>}
 */
async function within(mode, act) {
  const database = await opened();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(STORE, mode);
      const request = act(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
}

/**
 * @param {string} name
 * @param {Blob} blob
 * @returns {Promise<boolean>} whether it was kept
 */
export async function keepWork(name, blob) {
  try {
    await within("readwrite", (store) => store.put(blob, name));
    return true;
  } catch {
    return false; // private windows have no database, and a disk may be full: then a reload begins anew
  }
}

/**
 * @param {string} name
 * @returns {Promise<Blob | null>}
 */
export async function keptWork(name) {
  try {
    const found = await within("readonly", (store) => store.get(name));
    return found instanceof Blob ? found : null;
  } catch {
    return null;
  }
}
