// OHIF's button "Denoise": it denoises the series of the active viewport, lets the server store the result
// in the PACS, and opens both side by side. This follows OHIF's app-config.js; `denoise` in its settings
// names the model. Tested with OHIF 3.10.0-beta.5, which comes with MONAI Label 0.8.5.
(() => {
  const PROTOCOL = "monai-dental.side-by-side";
  const ROLE = "monaiDentalRole";
  // What to show, from the address: UIDs of an original instance and of the series of its results, and the
  // index of the instance in its stack, from 0.
  const asked = new URLSearchParams(location.search);
  let isBusy = false;

  // The side on which to show a display set.
  function roleOf({ SeriesInstanceUID, instances = [] }) {
    const isOf = (uid) => uid !== undefined && uid === asked.get("original");
    if (instances.some((each) => isOf(each.SOPInstanceUID))) return "original";
    const isResult = instances.some((each) => isOf(each.SourceImageSequence?.[0]?.ReferencedSOPInstanceUID));
    return isResult && SeriesInstanceUID === asked.get("denoised") ? "denoised" : "";
  }

  function viewport(role) {
    const linked = (type) => ({ type, id: `${PROTOCOL}.${type}`, source: true, target: true });
    return {
      viewportOptions: {
        viewportType: "stack",
        toolGroupId: "default",
        initialImageOptions: { index: Number(asked.get("place")) || 0 },
        syncGroups: [linked("zoompan"), linked("voi")],
      },
      displaySets: [{ id: role }],
    };
  }

  function selector(role) {
    return { seriesMatchingRules: [{ attribute: ROLE, required: true, constraint: { equals: { value: role } } }] };
  }

  const protocol = {
    id: PROTOCOL,
    name: "Original and denoised",
    protocolMatchingRules: [],
    displaySetSelectors: { original: selector("original"), denoised: selector("denoised") },
    stages: [{
      name: "side by side",
      viewportStructure: { layoutType: "grid", properties: { rows: 1, columns: 2 } },
      viewports: [viewport("original"), viewport("denoised")],
    }],
  };

  async function denoise(series) {
    const form = new FormData();
    form.append("params", JSON.stringify({ save_label: true }));
    const model = encodeURIComponent(window.config.denoise.model);
    const address = `/infer/${model}?image=${encodeURIComponent(series)}&output=json`;
    const answer = await fetch(address, { method: "POST", body: form }).catch(() => {
      throw new Error("The server does not answer; is it still running?");
    });
    const told = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(told.detail ?? `The server answers HTTP ${answer.status}.`);
    return told.label;
  }

  async function denoiseActive({ viewportGridService, displaySetService, cornerstoneViewportService, uiNotificationService }) {
    const show = (type, message) => uiNotificationService.show({ title: "Denoise", message, type, autoClose: false });
    const { activeViewportId } = viewportGridService.getState();
    const [uid] = viewportGridService.getDisplaySetsUIDsForViewport(activeViewportId) ?? [];
    const displaySet = displaySetService.getDisplaySetByUID(uid);
    if (!displaySet) {
      show("error", "There is no image in this viewport; open one.");
      return;
    }
    if (isBusy) return;
    isBusy = true;
    const notice = show("info", "Denoising …");
    try {
      const place = cornerstoneViewportService.getCornerstoneViewport(activeViewportId)?.getCurrentImageIdIndex() ?? 0;
      const denoised = await denoise(displaySet.SeriesInstanceUID);
      const address = new URL(location);
      const { SOPInstanceUID: original } = displaySet.instances[place] ?? displaySet.instances[0];
      for (const [name, value] of Object.entries({ hangingprotocolid: PROTOCOL, original, denoised, place })) {
        address.searchParams.set(name, value);
      }
      location.assign(address); // OHIF does not show a new series that it has not requested itself
    } catch (error) {
      show("error", error.message);
    } finally {
      uiNotificationService.hide(notice);
      isBusy = false;
    }
  }

  // OHIF gives a button the size of an icon; this one is a word.
  const style = document.createElement("style");
  style.textContent = `
    [data-cy="Denoise"] > div, :has(> [data-cy="Denoise"]) { width: auto !important; }
    [data-cy="Denoise"] > div { display: flex; align-items: center; font-size: 1rem; }`;
  document.head.append(style);

  window.config.extensions.push({
    id: "monai-dental.denoise",
    preRegistration({ servicesManager }) {
      servicesManager.services.hangingProtocolService.addCustomAttribute(ROLE, "Original or denoised", roleOf);
    },
    getHangingProtocolModule: () => [{ name: PROTOCOL, protocol }],
    getCommandsModule: ({ servicesManager }) => ({
      defaultContext: "DEFAULT",
      definitions: { denoiseActiveSeries: { commandFn: () => denoiseActive(servicesManager.services) } },
    }),
    onModeEnter({ servicesManager }) {
      const { toolbarService } = servicesManager.services;
      toolbarService.addButtons([{
        id: "Denoise",
        uiType: "ohif.radioGroup",
        props: { label: "Denoise", commands: "denoiseActiveSeries", evaluate: "evaluate.action" },
      }]);
      toolbarService.createButtonSection("primary", ["Denoise"]);
    },
  });
})();
