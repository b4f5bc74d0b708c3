// A photo from the camera of a computer. Phones use their own camera program.
import { h } from "./dom";
import { notice } from "./notices";

export function camera(taken: (file: File) => void, instead: () => void): void {
  const video = h("video", { autoplay: true, playsinline: true, "aria-label": "What the camera sees" });
  const dialog = h("dialog", { class: "camera", "aria-label": "Camera" });
  let stream: MediaStream | null = null;
  const end = (): void => { stream?.getTracks().forEach((track) => track.stop()); dialog.remove(); };
  const take = (): void => {
    const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d")!.drawImage(video, 0, 0);
    canvas.toBlob((blob) => { if (blob) taken(new File([blob], "camera.jpg", { type: "image/jpeg" })); dialog.close(); }, "image/jpeg", 0.95);
  };
  dialog.append(video, h("p", { class: "actions" },
    h("button", { type: "button", class: "main", onclick: take }, "Take the photo"), h("button", { type: "button", onclick: () => dialog.close() }, "Cancel")));
  dialog.addEventListener("close", end);
  navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1920 }, facingMode: "environment" } }).then((got) => {
    stream = got;
    video.srcObject = got;
    document.body.append(dialog);
    dialog.showModal();
  }).catch(() => { notice("No camera can be used here: choose a file instead."); instead(); });
}
