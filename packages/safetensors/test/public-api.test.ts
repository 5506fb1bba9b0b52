import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { manifest, PACKAGE, sources } from "./sources.ts";

/** What each subpath exports. Whoever changes this changes what others build on. */
const API: Readonly<Record<string, string>> = {
  ".": `
    Checkpoint DTYPES DTYPE_ORDER EXACT Header SafetensorsError TensorHandle blobStore cached contiguousStrides
    elementCount fromBlob fromBytes isContiguous isDtype joinShards locateFiles observed open openSafetensors
    openStore openStoreFiles openUrl parseIndex parseJsonFiles parseShardIndex piecesOf priced range readHeader
    readTextFiles reshape retrying selectTensors transpose urlPlace wholeFile
    type:ByteSource type:CacheOptions type:CheckpointParts type:Dtype type:DtypeArrays type:DtypeInfo
    type:DtypeKind type:ErrorCode type:ErrorDetails type:FileChoice type:FileStore type:FormatReader
    type:IndexItem type:LoadOptions type:LoadedTensor type:LocateOptions type:LocatedFiles type:NameChoice
    type:OpenInput type:OpenOptions type:OpenedFile type:OpenedFiles type:Piece type:PlanSummary type:Progress
    type:Range type:RangeChecksum type:ReadMode type:ReadOptions type:ReadTensorsOptions type:RetryOptions type:RetryingOptions
    type:SafetensorsOptions type:ShardIndex type:SourceSummary type:StoreOptions type:StorePlace
    type:StridedView type:TensorChoice type:TensorIndex type:TensorInfo type:TensorView type:Tiling type:Traffic
    type:UrlOptions type:WeightsFormat type:WholeFileOptions`,
  "./dtype": `
    DTYPES DTYPE_ORDER castFloats decodeElement isDtype isFloatDtype toFloat32
    type:CastOptions type:Dtype type:DtypeArrays type:DtypeInfo type:DtypeKind type:FloatDtype`,
  "./diagnose": "diagnose type:Diagnosis type:FileKind",
  "./format": `
    Header encodeHeader parseHeader readHeaderLength
    type:EncodedHeader type:HeaderOptions type:ParseOptions type:ReadMode type:TensorInfo type:TensorSpec`,
  "./save": `
    SafetensorsWriter applyNameRules blobSink castTensor editHeader encodeHeader groupAliases memorySink
    newNames parseSize save saveStream shardName splitByLayer splitEvenly splitGreedily splitTightly
    syncAccessSink writableSink
    type:AliasGroups type:AliasOptions type:ByteRange type:Bytes type:Chunks type:CopyOptions type:EditedHeader
    type:EncodedHeader type:HeaderChanges type:HeaderOptions type:InputData type:LazyData type:NameRules
    type:NamedTensor type:RenameRules type:SaveInput type:SaveInputs type:SaveOptions type:SaveStream type:Sink type:SumOptions
    type:SyncAccessHandle type:TensorData type:TensorSpec type:TensorStream`,
  "./transform": `
    RECIPES applyRecipe invertRecipe parseRecipe
    type:ApplyOptions type:ConcatOperation type:EachOperation type:Expression type:InterleaveOperation
    type:Operation type:PartSizes type:Recipe type:RecipeStep type:RecipeVariable type:SplitOperation
    type:StackOperation type:StepReport type:TransformReport type:Transformed type:UnstackOperation`,
  "./compare": `
    compareCheckpoints compareTensors
    type:CompareOptions type:ComparedTensors type:Comparison type:MetadataDifference type:TensorComparison
    type:TensorOutline type:TensorStatus type:ValueDifferences type:ValueOptions`,
  "./manifest": `
    digestMetadata encodeManifest hashTensors manifestInMetadata parseManifest sha256 verifyTensors verifying
    withoutDigests
    type:FileDigest type:HashTensorsOptions type:Hasher type:Manifest type:TensorDigest type:VerifyOptions`,
  "./consolidate": `
    openRanks parseCuts
    type:CutRule type:CutRules type:Distribution type:OpenedRanks type:RankChoice type:RankKind
    type:RanksOptions type:RanksReport`,
  "./parallel": `
    DEFAULT_ORDER EMBEDDINGS Mesh ParallelPlan SHARE_NOTE WHOLE cutShape cutTensor cutView deviceOf expertPartOf
    expertRange groupByDevice hasExpert inferDeviceMap joinShards layerCounts layerOf legalWorldSizes mergeRanks
    openRankFiles parseDeviceMap parseMemory parsePlan planFor rankNumbers rankShare readShare shardTensor
    shareCheckpoint stageLayers stagesOf worldTable
    type:AxisCut type:Coordinates type:Cut type:CutRange type:DetailedStyle type:Device type:DeviceMap
    type:DeviceMapOptions type:ExpertOptions type:ExpertPart type:ExpertPlacement type:FusedHeads type:Heads
    type:LayerPlace type:LayerRange type:LegalSizesOptions type:MergeRanksOptions type:MergeReport
    type:MergedRanks type:MeshAxis type:ModelConfig type:Obstacle type:PipelineOptions type:PlanForOptions
    type:PlanOptions type:PlanReport type:PlanRules type:RankFile type:RankOf type:RankRow type:RankTensor
    type:ReadShareOptions type:Shard type:ShardOptions type:ShareOptions type:SizedTensor type:Stack
    type:StagesOfTensor type:Style type:StyleName type:TensorInfo type:UnevenRule type:WorldOptions
    type:WorldSizeVerdict type:WorldSizes type:WorldTable`,
  "./quant": `
    QUANT_CONFIG_FILES QUANT_ONLY_FILES cutOfDense cutParts decodePiece denseConfig denseShape dequantized
    findQuantized grainOf loadKernels plainKernels quantConfigOf runKernel withQuantizationConfig
    type:AwqCall type:AxisLink type:ConfigFiles type:DecodeOptions type:DenseKernels type:DequantizeOptions
    type:Fields type:FindOptions type:KMajorCall type:KernelCall type:KernelOptions type:Kernels
    type:PackedRowsCall type:Part type:PartCut type:PartData type:QuantConfig type:QuantProblem
    type:Quantization type:QuantizedWeight type:Restated type:ScaledBytesCall type:ScaledNibblesCall
    type:UnsupportedWeights type:WeightCut`,
  "./quantize": `
    AWQ_MODEL_TYPES CalibrationStatistics SAME_INPUT_KEY SCHEME_NAMES STATISTICS_KEY awqCodes awqFoldings
    awqLimits awqScales chooseWeights factorHessian foldIntoColumns foldIntoNorm foldIntoRows gptq joinRows
    loadQuantizeKernels misfitReason nvfp4GlobalScale packAwq packCompressedTensors packGptq
    plainQuantizeKernels quantizedConfig quantizerOf roundToNearest sharesScale solveRows squaredErrors
    usualReason
    type:AwqInput type:AwqRounding type:AwqScales type:CodeFormat type:FactorOptions type:Folding
    type:FoldingSource type:GptqInput type:GptqResult type:GroupedCodes type:HessianFactor type:InputStatistics
    type:MxScaleRule type:OutputError type:QuantizeKernels type:QuantizedConfig type:QuantizedModel
    type:QuantizerOptions type:SkipReason type:SolveOptions type:SolvedRows type:StoredPart type:TensorFacts
    type:WeightChoice type:WeightQuantizer`,
  "./torch": `
    TorchCheckpoint classifyGlobal groupAliases openTorch torchReader writeTorch
    type:AliasGroups type:AliasOptions type:Aliases type:Compression type:Decompress type:GlobalRole
    type:KnownGlobal type:LeftOut type:ReportedGlobal type:SelectOptions type:TensorOptions type:TorchContainer
    type:TorchOptions type:TorchReport type:WriteTorchOptions`,
  "./numpy": `
    npyHeader numpyReader openNumpy writeNpy writeNpz
    type:NpyOptions type:NumpyOptions type:WriteNumpyOptions`,
  "./scan": `
    FINDINGS scan toSarif
    type:Finding type:FindingCode type:SarifLog type:SarifTool type:ScanOptions type:ScanReport
    type:ScannedGlobal type:Severity type:Verdict`,
  "./workers": `
    openKernelPool openPool
    type:KernelPool type:KernelPoolOptions type:PoolGetOptions type:PoolInput type:PoolOptions
    type:PoolReadOptions type:PoolTensor type:PoolTensorInfo type:TensorForm type:WorkerPool`,
  "./hub": `
    endpointFromEnvironment hubPlace hubStore openHub parseHubAddress tokenFromEnvironment
    type:Environment type:HubAddress type:HubOptions type:HubRepoType`,
  "./s3": `
    credentialsFromEnvironment openS3 s3Place s3Store
    type:S3Access type:S3Credentials type:S3Options type:S3StoreOptions`,
  "./node": `
    FileSource checkQuantizable convertPath convertToNumpy convertToTorch decompress editCheckpoint editFile fileSink
    finishEdits folderStore hashCheckpoint hashFile hugePageAdvice hugePages locateCheckpoint manifestPath
    openFile openMapped openPath openWeights pathPlace quantizeWeights readHubToken readManifest recordDigests
    repairCheckpoint rewriteFile saveCheckpoint saveFile saveShares saveTorch verifyManifest writeManifest
    writeTensors
    type:CheckpointEditResult type:CheckpointFiles type:ConvertOptions type:ConvertResult type:ConvertedFile
    type:ConvertedInput type:Defect type:EditOptions type:EditResult type:FileOptions type:FileSink
    type:FinishOptions type:FolderOptions type:HashCheckpointOptions type:HashOptions type:HashedCheckpoint
    type:LayoutOptions type:OneFileOptions type:OneFileResult type:OutputRules type:PathOptions type:QuantizeWeightsOptions type:QuantizedWeights
    type:RepairOptions type:RepairReport type:RewriteChanges type:SaveCheckpointOptions type:SaveSharesOptions
    type:SavedCheckpoint type:SavedFile type:VerifiedManifest
    type:VerifyManifestOptions type:WeightReport type:WriteOptions type:WriteTensorsOptions`,
};

const targets = manifest().exports as Record<string, { default?: string }>;

/** The names that a source file exports, those of types marked. */
function exportsOf(text: string): string[] {
  const lists = Array.from(text.matchAll(/^export (type )?\{([^}]*)\}/gm), ([, type, list]) =>
    list!
      .split(",")
      .map((name) => name.trim())
      .filter((name) => name !== "")
      .map((name) => (type && !name.startsWith("type ") ? `type ${name}` : name)),
  ).flat();
  const declared = text.matchAll(
    /^export (?:(type|interface)|(?:async )?(?:function\*?|const|class)) (\w+)/gm,
  );
  const own = Array.from(declared, ([, type, name]) => (type ? `type ${name}` : name!));
  return [...lists, ...own].map((name) => name.replace(/^(type )?\w+ as /, "$1").replace(" ", ":")).sort();
}

describe("the public API", () => {
  it("has the known subpaths", () => {
    assert.deepEqual(Object.keys(targets), [...Object.keys(API), "./package.json"]);
  });

  for (const [subpath, names] of Object.entries(API)) {
    it(`of "${subpath}" is what it was`, async () => {
      const file = targets[subpath]!.default!.replace("./dist/", "");
      const text = sources().get(file.replace("src/", "").replace(/\.js$/, ".ts"))!;
      assert.doesNotMatch(text, /^export (type )?\*|^export default/m);
      const expected = names.trim().split(/\s+/).sort();
      assert.deepEqual(exportsOf(text), expected);
      // What is compiled has the same names.
      const compiled: object = await import(new URL(`../${file}`, import.meta.url).href);
      assert.deepEqual(
        Object.keys(compiled).sort(),
        expected.filter((name) => !name.startsWith("type:")),
      );
    });
  }
});

describe("every error code", () => {
  const errors = sources().get("errors.ts")!;
  const codes = Array.from(errors.matchAll(/^ {2}\| "([A-Z0-9_]+)"/gm), ([, code]) => code!);

  it("is described, thrown by the library and asserted by a test", () => {
    assert.ok(codes.length > 30);
    const library = [...sources()].filter(([file]) => file !== "errors.ts").map(([, text]) => text);
    const folder = join(PACKAGE, "test");
    const tests = readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".test.ts"))
      .map((file) => readFileSync(join(folder, file), "utf8"));
    const comment = errors.slice(0, errors.indexOf("export type ErrorCode"));
    for (const code of codes) {
      assert.ok(comment.includes(`\`${code}\``), `${code} is not described`);
      assert.ok(
        library.some((text) => text.includes(`"${code}"`)),
        `nothing throws ${code}`,
      );
      assert.ok(
        tests.some((text) => new RegExp(`\\b${code}\\b`).test(text)),
        `no test asserts ${code}`,
      );
    }
  });
});
