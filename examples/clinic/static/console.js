"use strict";

// How far a re-encryption is, as the server tells it.
const work = document.getElementById("work");
if (work && work.dataset.phase === "running") {
  const source = new EventSource(work.dataset.url);
  source.onmessage = (event) => {
    const now = JSON.parse(event.data);
    const bar = document.getElementById("bar");
    bar.max = now.expected || 1;
    bar.value = now.rows;
    document.getElementById("said").textContent = now.table
      ? `${now.phase}: ${now.table}, ${now.rows} of ${now.expected} rows; ${now.changed} rows changed`
      : now.phase;
    if (now.phase !== "running") {
      source.close();
      location.reload();
    }
  };
}

// After a key was switched off: how long keys that are open already could be used.
const countdown = document.getElementById("countdown");
if (countdown) {
  const look = async () => {
    const answer = await fetch(countdown.dataset.url, { headers: { Accept: "application/json" } });
    if (!answer.ok) return;
    const now = await answer.json();
    if (now.state !== countdown.dataset.state) {
      location.reload();
      return;
    }
    countdown.hidden = false;
    countdown.textContent = now.open
      ? `Data keys that are open in this server: ${now.open}. If the key were switched off now, the last would be gone in ${Math.ceil(now.seconds)} seconds.`
      : "No data key is open in this server.";
  };
  look();
  setInterval(look, 1000);
}
