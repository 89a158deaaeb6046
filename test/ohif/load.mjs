// Loads a DICOM SEG over its source picture as the viewer OHIF does (@cornerstonejs/adapters), and prints as JSON what it found:
// for each segment its number, label, the number of its pixels and the SHA-256 of its mask, a byte a pixel, 0 or 1.
//
// node load.mjs SEG.dcm SOURCE.dcm
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

// The libraries are made for browsers and look for these when they are loaded.
globalThis.window ??= globalThis;
globalThis.document ??= { createElement: () => ({ getContext: () => null, style: {} }), addEventListener() {} };

const { default: dcmjs } = await import('dcmjs');
const { metaData } = await import('@cornerstonejs/core');
const { adaptersSEG } = await import('@cornerstonejs/adapters');

const [segPath, sourcePath] = process.argv.slice(2);
const bufferOf = path => {
  const bytes = readFileSync(path);
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
};
const { DicomMessage, DicomMetaDictionary } = dcmjs.data;
const source = DicomMetaDictionary.naturalizeDataset(DicomMessage.readFile(bufferOf(sourcePath)).dict);
const sourceId = 'wadors:source/frames/1';

// What OHIF says of an instance; where a picture has no plane, as photographs have none, it takes this one.
const instances = new Map([[sourceId, source]]);
const provider = {
  addCustomMetadata: (imageId, type, value) => type === 'instance' && instances.set(imageId, value),
  get(type, imageId) {
    const i = instances.get(imageId);
    if (!i) return undefined;
    const spacing = i.PixelSpacing ?? [1, 1];
    switch (type) {
      case 'instance':
        return i;
      case 'generalImageModule':
        return { sopInstanceUID: i.SOPInstanceUID };
      case 'generalSeriesModule':
        return { seriesInstanceUID: i.SeriesInstanceUID, modality: i.Modality };
      case 'imagePixelModule':
        return { bitsAllocated: i.BitsAllocated, bitsStored: i.BitsStored, highBit: i.HighBit, samplesPerPixel: i.SamplesPerPixel, pixelRepresentation: i.PixelRepresentation, photometricInterpretation: i.PhotometricInterpretation };
      case 'imagePlaneModule':
        return {
          rows: i.Rows, columns: i.Columns, rowCosines: [1, 0, 0], columnCosines: [0, 1, 0], imageOrientationPatient: [1, 0, 0, 0, 1, 0],
          imagePositionPatient: [0, 0, 0], rowPixelSpacing: spacing[0], columnPixelSpacing: spacing[1], frameOfReferenceUID: i.FrameOfReferenceUID,
        };
    }
    return undefined;
  },
};
metaData.addProvider((type, imageId) => provider.get(type, imageId));

const loaded = await adaptersSEG.Cornerstone3D.Segmentation.createFromDICOMSegBuffer([sourceId], bufferOf(segPath), { metadataProvider: provider });

// Overlapping segments come as several label maps, each with the numbers of its segments as pixels.
const labelMaps = loaded.labelMapImages.flat().filter(Boolean).map(image => image.getPixelData?.() ?? image.voxelManager.getScalarData());
const segments = loaded.segMetadata.data.filter(Boolean).map(segment => {
  const number = Number(segment.SegmentNumber);
  const mask = new Uint8Array(source.Rows * source.Columns);
  for (const pixels of labelMaps) {
    pixels.forEach((value, i) => {
      if (value === number) mask[i] = 1;
    });
  }
  return { number, label: segment.SegmentLabel, pixels: mask.reduce((sum, v) => sum + v, 0), sha256: createHash('sha256').update(mask).digest('hex') };
});
console.log(JSON.stringify(segments));
